"""Why a network decides what it decides: score maps, bins and votes of one RoI; what one training image teaches."""
