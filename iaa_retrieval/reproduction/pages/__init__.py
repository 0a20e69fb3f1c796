"""The pages of a reproduction, generated from its YAML and from the results that are kept."""
