"""The JSON Schemas of everything that travels and one AsyncAPI document, generated from the models."""
