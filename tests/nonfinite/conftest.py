"""The programs are scripts that train: they are run, not imported."""

collect_ignore_glob = ["broken/*", "healthy/*"]
