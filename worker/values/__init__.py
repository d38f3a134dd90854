"""The value a message is at each hop. Frozen; closed unions matched with `assert_never`."""
