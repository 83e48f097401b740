"""What `natsume` itself offers: all of it by a star import, and none of the broker's client before it is asked for."""

import subprocess
import sys
from textwrap import dedent

SCRIPT = """
    import sys, types
    import natsume
    assert not {"nats", "sqlalchemy", "natsume.connecting", "natsume.results"} & set(sys.modules)
    from natsume import *
    assert connect is natsume.connect and JoinResults and MemberResult
    own = {name for name, value in vars(natsume).items() if not isinstance(value, types.ModuleType)}
    public = {name for name in own if not name.startswith("_")} - {"Any"}
    assert public <= set(natsume.__all__), public - set(natsume.__all__)
"""


def test_a_star_import_brings_all_public_names_also_those_that_are_loaded_late():
    ran = subprocess.run(
        [sys.executable, "-c", dedent(SCRIPT)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stderr == ""
