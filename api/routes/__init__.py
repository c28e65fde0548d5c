"""The HTTP API's resources, one module a resource; `api/app.py` lists them."""
