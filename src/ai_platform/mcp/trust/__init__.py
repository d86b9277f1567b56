"""Which definitions of a server may be shown: approved ones, pinned by hash; what is new or changed is held."""
