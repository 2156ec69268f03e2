"""Speech recognition, translation, speech and replies as hops of a Tidegate pipeline, each a service of its own."""
