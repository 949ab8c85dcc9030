"""Makes the corpus anew: every file in files/, and table.json, which says what has to be found in which.

Run by hand, where the formats or the cases change: python -m tests.vectors.intake.make [CASE...]
Without names it makes all of them anew; with names only the files of these, and the whole table.
It takes openssl, certtool (gnutls-bin), keytool (a JRE), certutil and pk12util (libnss3-tools), puttygen
(putty-tools), ssh-keygen and gpg. The tests need none of them: what they made lies here. The certificates
are good until 2099, so that no clock makes the corpus old.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.vectors.intake import chains, foreign, hostile, packed, plain, protected
from tests.vectors.intake.cases import Case, World

HERE = Path(__file__).parent


def main() -> None:
    world = World()
    every: list[Case] = []
    for module in (plain, protected, packed, foreign, chains, hostile):
        every += module.cases(world)
    names = [case.name for case in every]
    assert len(names) == len(set(names)), "two cases have one name"
    wanted = set(sys.argv[1:]) or set(names)
    if wanted == set(names):
        shutil.rmtree(HERE / "files", ignore_errors=True)
    table = []
    for case in every:
        for name, content in case.files.items():
            path = HERE / "files" / case.name / name
            if case.name in wanted:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        row = {"name": case.name, "by": case.by, "files": list(case.files), "codes": case.codes}
        table.append(row | ({} if case.passphrase is None else {"passphrase": case.passphrase}))
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in table)
    (HERE / "table.json").write_text(f"[\n{lines}\n]\n", "utf-8")
    sys.stdout.write(f"{len(table)} cases\n")


if __name__ == "__main__":
    main()
