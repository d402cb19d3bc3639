import sys

from orthogan.cli import main

sys.exit(main())
