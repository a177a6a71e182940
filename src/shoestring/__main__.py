"""`python -m shoestring`."""

import sys

from shoestring.cli.main import main

sys.exit(main())
