"""What the project does with hostile input, abuse, faults and load: tried in small by the tests, at large by
`python -m tests.reliability`, which writes docs/reliability.md."""
