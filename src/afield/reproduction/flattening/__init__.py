"""Paper A, complement flattening: PACS with held-out domains, values of lambda, and CIFAR-10 with corruptions."""
