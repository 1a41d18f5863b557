"""`python -m appliance` is `alto`."""

import sys

from appliance.cli import main

sys.exit(main())
