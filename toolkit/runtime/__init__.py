"""From manifest to running service; app.App is the composition root: read it first."""
