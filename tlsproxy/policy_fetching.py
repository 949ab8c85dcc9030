"""The part of policy.py about what is fetched because a certificate points to it.

As there: values only, each with its reason. Sizes are bytes, durations float seconds.
"""

from __future__ import annotations

# A certificate has 1 to 3 KB; a PKCS #7 file of an authority with all of its generations has 20.
ISSUER_BYTES = 65_536
# For all that one candidate needs. Changes wait for each other, and the end of the proxy waits for them: it
# is less than `drain_s`, and a server that is there answers within a second.
ISSUERS_S = 6.0
# Real chains have one or two intermediates below the root, whose certificate some name as well; of what is
# here more may be used, for it costs nothing.
ISSUERS_FETCHED = 4
ISSUERS_ABOVE = 6
# Of the places that one certificate names; one is usual.
PLACES_TRIED = 2
