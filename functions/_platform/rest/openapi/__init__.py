"""The OpenAPI document at the root of /rest/v1 (Swagger 2.0, as upstream)."""
