"""Paper C, angular-margin heads on ordinary classes: CIFAR-10 and CIFAR-100, three networks, margins from 0 to 2.5."""
