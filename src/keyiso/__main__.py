"""``python -m keyiso``: the command line."""

from keyiso.cli import main

if __name__ == "__main__":
    main()
