"""Paper A: complement flattening. PACS, one domain left out at a time; a sweep of lambda; corruptions of CIFAR-10."""
