/* A program: steps and places, as plain data. Changes with what a step has to know. */
#ifndef MGC_PROGRAM_H
#define MGC_PROGRAM_H

#include "program/steps.h"

/* What gets a gradient from a step. */
typedef enum {
    MGC_X_RECEIVES = 1,              /* of a row of ops.h */
    MGC_Y_RECEIVES = 2,
    MGC_Z_RECEIVES = 4,
    MGC_X_FIRST = 8,                 /* and on the way back nothing has arrived there yet: of single results */
    MGC_KEEPS_OTHER = 64,            /* of SIN and COS of lanes: the other one of the same x is kept, in place y */
    MGC_IS_UNREAD = 128,             /* of an iteration: its way back reads nothing that depends on the result */
    MGC_OPERANDS_RECEIVE = 1,        /* of all other steps: any of the operands */
    MGC_WEIGHTS_RECEIVE = 2,         /* of DENSE: any of the weights and biases */
    MGC_OPERANDS_RECEIVE_FIRST = 4,  /* of DENSE: on the way back, nothing has arrived there yet, so that it assigns */
} mgc_receiver;

/* As small as it can be: a program of one example is read once for each. */
typedef struct {
    short op;
    unsigned char receives; /* which operands get a gradient that somebody needs: mgc_receiver, put together */
    unsigned char is_run;   /* of a row of ops.h: whether all strides are 1: a kernel goes over all results at once */
    int f;                  /* the place of the result, of the first of them if there are several */
    int count;              /* how many results, in places one after another */
    int x;                  /* the place of the first operand: a scalar or a slot; or of an index; which loop it is */
    union {
        struct {            /* of a row of ops.h */
            int y, z;
            int dx, dy, dz; /* how far the operands of the next result are from those of this one */
        };
        struct {            /* of all others */
            int k;          /* how many operands of a dot product, how many pairs, how many values */
            int places;     /* where the places of these begin in the program's list */
            int weights;    /* where count * k weights begin, and then count biases; of a loop, those in places */
        };
    };
} mgc_step;

static inline int mgc_is_row_of_table(const mgc_step *step) { return step->op < MGC_TABLE_END; }

/* Where the places and the weights of a step begin that is no row of ops.h; of one that is, nobody reads them. */
static inline int mgc_first_place(const mgc_step *step) { return mgc_is_row_of_table(step) ? 0 : step->places; }
static inline int mgc_first_weight(const mgc_step *step) { return mgc_is_row_of_table(step) ? 0 : step->weights; }

/* How many products or values each result is made of; 0 for a row of ops.h. */
static inline int mgc_size_of(const mgc_step *step) { return mgc_is_row_of_table(step) ? 0 : step->k; }

/* A loop: steps that are repeated on the same slots. In the program's list of places, one that is less than 0 is a
   weight, -1 - i that which is i behind the first one of the step. */
typedef struct {
    mgc_step *steps;         /* of an iteration */
    int step_count;
    int is_nested;           /* whether one of these is a loop */
    int length, carries, xs, ys;
    int first;               /* the slot of the first carry; those of the xs of an iteration come after them */
    int slot_count;          /* how many slots, from there on, an iteration writes */
    int fed;                 /* places of what the carries begin with, and of the xs of all iterations */
    int next;                /* places of what an iteration gives: the next carries, the ys, and if `ends`, whether no
                                iteration is left */
    int results;             /* slots of the results, -1 for one that nobody needs */
    int receivers, receiver_count;  /* slots of what the iterations read besides */
    int checks, check_count; /* (the slot of an index, how many values it picks from) */
    int ends;
    int clears, clear_count; /* (a slot, how many): rows of gradients that begin at 0, going back; the others are
                                assigned first */
    int firsts;              /* of each next carry: whether its gradient is assigned */
    int moves_first;         /* whether a next carry is another carry, so that all are to be copied aside */
    int every;               /* how many iterations lie between two that the way back finds the carries of */
    int kept;                /* the first of the rows that are kept: see scan.h */
    int kept_of_one;         /* the same in a call of one example */
    int keeps_slots;         /* whether such a call keeps all that an iteration writes, and runs none again */
    double work;             /* multiplications, about */
} mgc_loop;

typedef struct {
    mgc_step *scalar_steps, *lane_steps;
    int scalar_step_count, lane_step_count;
    int *places;
    int scalar_count;        /* parameters first, then constants, then results */
    int parameter_count;
    int weight_count;
    int weights_receive;     /* whether the gradient of any weight is needed */
    int run_count;           /* runs of weights that are scalars one after another */
    int *run_weights, *run_scalars, *run_sizes;
    int input_count;         /* they have the first slots */
    int slot_count;
    int broadcast_count;     /* scalars that steps over lanes read as a row */
    int *broadcast_scalars, *broadcast_slots;
    unsigned char *is_single;    /* of a slot: whether all steps that touch it are rows of ops.h of single results */
    int seeded;              /* the slot of the only output, if no step sends it a gradient; else -1 */
    int clear_count;         /* rows of gradients, in runs, that begin at 0; the others are assigned first */
    int *clear_slots, *clear_sizes;
    int single_count;        /* rows of gradients that single results are the first to write; in one example they add */
    int *single_slots;
    int output_count;
    int *output_places;      /* a slot, or -1 - a scalar */
    int *output_is_first;    /* whether no output before has the same slot: its gradient is assigned to that */
    int careful_rows;        /* that a careful step back sets aside, at most */
    mgc_loop *loops;         /* by the x of a scan step */
    int loop_count;
    int kept_rows;           /* that all loops keep */
    int kept_of_one;         /* numbers that they keep in a call of one example */
} mgc_program;

#endif
