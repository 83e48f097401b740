"""`python -m natsume.cli`: the command line, for this very interpreter."""

import sys

from natsume.cli.main import main

sys.exit(main())
