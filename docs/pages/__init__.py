"""The generated pages of the documentation, one file each; they read registries and committed records."""
