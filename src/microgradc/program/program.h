/* A program: steps and places, as plain data. Changes with what a step has to know. */
#ifndef MGC_PROGRAM_H
#define MGC_PROGRAM_H

#include "program/steps.h"

/* What gets a gradient from a step. */
typedef enum {
    MGC_X_RECEIVES = 1,              /* of a row of ops.h */
    MGC_Y_RECEIVES = 2,
    MGC_Z_RECEIVES = 4,
    MGC_OPERANDS_RECEIVE = 1,        /* of all other steps: any of the operands */
    MGC_WEIGHTS_RECEIVE = 2,         /* of DENSE: any of the weights and biases */
    MGC_OPERANDS_RECEIVE_FIRST = 4,  /* of DENSE: on the way back, nothing has arrived there yet, so that it assigns */
} mgc_receiver;

typedef struct {
    int op;
    int x, y, z;    /* the places of the operands: scalars or slots; x may be an index */
    int dx, dy, dz; /* of a row of ops.h: how far the operands of the next result are from those of this one */
    int is_run;     /* whether these strides are all 1: a kernel then goes over all results at once */
    int f;          /* the place of the result, of the first of them if there are several */
    int count;      /* how many results, in places one after another */
    int k;          /* how many operands of a dot product, how many pairs, how many values */
    int places;     /* where the places of these begin in the program's list */
    int weights;    /* where count * k weights begin, and then count biases */
    int receives;   /* which operands get a gradient that somebody needs: mgc_receiver, put together */
} mgc_step;

typedef struct {
    mgc_step *scalar_steps, *lane_steps;
    int scalar_step_count, lane_step_count;
    int *places;
    int scalar_count;        /* parameters first, then constants, then results */
    int parameter_count;
    int weight_count;
    int run_count;           /* runs of weights that are scalars one after another */
    int *run_weights, *run_scalars, *run_sizes;
    int input_count;         /* they have the first slots */
    int slot_count;
    int broadcast_count;     /* scalars that steps over lanes read as a row */
    int *broadcast_scalars, *broadcast_slots;
    int clear_count;         /* rows of gradients, in runs, that begin at 0; the others are assigned first */
    int *clear_slots, *clear_sizes;
    int output_count;
    int *output_places;      /* a slot, or -1 - a scalar */
    int careful_rows;        /* that a careful step back sets aside, at most */
} mgc_program;

#endif
