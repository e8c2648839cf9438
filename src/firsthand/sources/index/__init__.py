"""The search index beside a checkout: symbols, text and ranking, with no model and no network."""
