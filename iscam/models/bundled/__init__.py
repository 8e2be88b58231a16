"""How the bundled classifier is built, trained and measured. Its weights are loaded by `models.photo11`."""
