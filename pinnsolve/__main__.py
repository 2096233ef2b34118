"""`python -m pinnsolve`."""

if __name__ == "__main__":
    from pinnsolve.cli import main

    main()
