"""`python -m mosam`: the command, for programs that know an interpreter but no installed script."""

from mosam.cli import main

if __name__ == "__main__":
    main()
