"""The part of policy.py about answers for ACME authorities. As there: values only, each with its reason."""

from __future__ import annotations

# Answers that are given at a time: a certificate has at most a hundred names at public authorities.
ANSWERS = 200
# Until each worker has said that it gives them; one that hangs is found out by its heart a little later.
ANSWERS_S = 10.0
# An answer stands as long as an order may take (certstore's ANSWERED); whoever dies takes none back.
ANSWER_MOST_S = 3_600.0
