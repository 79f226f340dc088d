"""Webhook adapter: which addresses may be called, how a notice is signed and posted, how secrets are sealed."""
