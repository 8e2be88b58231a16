"""The app as a Hugging Face Space runs it, rehearsed on this machine: a small part by the tests, all of it by
`python -m tests.rehearsal`."""
