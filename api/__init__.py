"""HTTP beside the page: routes, and the middleware around everything. Decisions are made below."""
