"""alto.yaml as frozen models: reading it, every error in it, and what a changed file means."""
