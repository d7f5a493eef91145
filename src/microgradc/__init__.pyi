# The public names, each with the place that it comes from; there is no other list of them. Type checkers read this
# file, and `__init__.py` does when the package is imported: it takes one import on each line. All but what comes from
# the engine is imported on first use.
# ruff: noqa: F403, I001

import microgradc.train.fit
from microgradc import checkpoint as checkpoint, engine as engine, losses as losses, nn as nn, optim as optim
from microgradc import program as program, viz as viz
from microgradc.arrays import array as array, grads as grads, to_numpy as to_numpy
from microgradc.checkpoint import load as load, load_model as load_model, save as save
from microgradc.checking import Comparison as Comparison, GradcheckError as GradcheckError
from microgradc.checking import compare_with_torch as compare_with_torch, gradcheck as gradcheck
from microgradc.cli.dropin import install as install
from microgradc.derivatives import grad as grad, hessian as hessian, hvp as hvp, jacobian as jacobian
from microgradc.derivatives import jvp as jvp, value_and_grad as value_and_grad, vjp as vjp
from microgradc.program.scan import scan as scan
from microgradc.engine import AnomalyError as AnomalyError, CompileError as CompileError, Value as Value
from microgradc.engine import detect_anomaly as detect_anomaly, function as function
from microgradc.engine import no_grad as no_grad, topological_sort as topological_sort
from microgradc.engine.functions import *
from microgradc.losses import binary_cross_entropy as binary_cross_entropy
from microgradc.losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from microgradc.losses import cosine_similarity as cosine_similarity, cross_entropy as cross_entropy
from microgradc.losses import gaussian_nll_loss as gaussian_nll_loss, hinge_loss as hinge_loss
from microgradc.losses import huber_loss as huber_loss, kl_div as kl_div, l1_loss as l1_loss, mse_loss as mse_loss
from microgradc.losses import nll_loss as nll_loss, poisson_nll_loss as poisson_nll_loss
from microgradc.losses import smooth_l1_loss as smooth_l1_loss
from microgradc.nn import MLP as MLP, Activation as Activation, Dropout as Dropout, Embedding as Embedding
from microgradc.nn import Flatten as Flatten, Layer as Layer, LayerNorm as LayerNorm, Module as Module
from microgradc.nn import Neuron as Neuron, Sequential as Sequential, Softmax as Softmax, init as init
from microgradc.optim import SGD as SGD, Adagrad as Adagrad, Adam as Adam, AdamW as AdamW, NAdam as NAdam
from microgradc.optim import CosineAnnealingLR as CosineAnnealingLR, RMSprop as RMSprop
from microgradc.optim import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from microgradc.optim import ExponentialLR as ExponentialLR, LambdaLR as LambdaLR, LinearLR as LinearLR
from microgradc.optim import MultiStepLR as MultiStepLR, ReduceLROnPlateau as ReduceLROnPlateau
from microgradc.optim import SequentialLR as SequentialLR, StepLR as StepLR
from microgradc.optim import clip_grad_norm_ as clip_grad_norm_, clip_grad_value_ as clip_grad_value_
from microgradc.program.calculus import gradients as gradients
from microgradc.program.compile import compile as compile
from microgradc.program.loaded import load_compiled as load_compiled
from microgradc.program.partial import Partial as Partial, combine as combine
from microgradc.program.program import Program as Program, get_num_threads as get_num_threads
from microgradc.program.program import set_num_threads as set_num_threads
from microgradc.train import data as data
from microgradc.train.callbacks import EarlyStopping as EarlyStopping, ModelCheckpoint as ModelCheckpoint
from microgradc.train.callbacks import ProgressBar as ProgressBar
from microgradc.train.data import batches as batches, make_blobs as make_blobs, make_circles as make_circles
from microgradc.train.data import make_moons as make_moons
from microgradc.train.fit import History as History, fit as fit
from microgradc.train.scores import accuracy as accuracy, outputs as outputs
from microgradc.viz import draw_dot as draw_dot, draw_graph as draw_graph, format_graph as format_graph
from microgradc.viz import plot_decision_boundary as plot_decision_boundary, plot_history as plot_history

training = microgradc.train.fit

__version__: str
