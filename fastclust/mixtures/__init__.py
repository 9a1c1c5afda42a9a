"""Gaussian mixtures: two estimators, one loop of EM.

`mixture` and `bayesian_mixture` are scikit-learn's classes around `em_loop`, which runs `ascent`s
on an `em_problem`; `covariances` knows the four kinds.
"""
