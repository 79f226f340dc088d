"""HTTP edge: FastAPI routes, schemas and problem+json errors."""
