"""The models that the study trains."""
