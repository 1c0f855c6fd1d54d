"""PlaNet's world model and planner with Robo-PlaNet's late fusion of cameras.

Hafner et al. 2019, "Learning Latent Dynamics for Planning from Pixels", arXiv 1811.04551.

The time convention stands in :mod:`planet_core`.

Modules: ``config`` (one typed configuration per
part), ``networks`` (encoders, decoders), ``transition`` (beliefs; the RSSM and its ablations),
``world_model`` (the whole), ``objective`` (the variational bound), ``planner`` (CEM), ``agent``
(belief and planner as a policy), ``weights`` (weights as bytes).
"""
