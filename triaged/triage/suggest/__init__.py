"""Rules proposed by what people did: found on a part of it, verified on the rest."""
