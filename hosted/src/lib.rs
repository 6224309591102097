//! Third-party programs, as they are, hosted by detsim. All of it is in `tests/`: one room a program.
