"""Pages of the documentation that are made of registries and committed records, a file each."""
