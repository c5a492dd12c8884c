"""How a script of the workflow ends: bad input is one sentence and exit status 1, without a traceback."""

import sys
from collections.abc import Callable

from adamolmo.errors import AdaMolmoError


def run(main: Callable[[], None]) -> None:
    try:
        main()
    except AdaMolmoError as error:
        sys.exit(f"error: {error}")
