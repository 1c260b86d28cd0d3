"""The supply line of components: sets are locked, locks are verified and loaded."""
