"""`python -m mobilekit` is the command line."""

from mobilekit.cli.app import main

if __name__ == "__main__":
    main()
