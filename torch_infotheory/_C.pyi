# Importing the extension registers the operators; it has nothing else to offer.
