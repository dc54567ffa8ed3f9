"""The edges: venues, feeds, signal sources, the store; each imports core and no sibling package."""
