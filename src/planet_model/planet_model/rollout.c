// The imagined rewards of many action sequences.
//
// The same equations as world_model.WorldModel.imagine and .reward, one candidate per row:
//
//     x  = relu(W_in [s, a])                               SMALL
//     h' = GRU(x, h)                                       LARGE
//     p  = relu(W_p h'),  mean, std = W_o p                LARGE, SMALL
//     s' = mean + (softplus(std) + min_std) noise          float32
//     y  = w_3 relu(W_2 relu(W_1 [h', s']))                LARGE (W_1 of s': SMALL)
//
// for the reward and, where there is one, the termination. LARGE is int8 or float32, SMALL is
// bfloat16 or float32 (vectors.h); sums of whole numbers are int32, all else is float32. A product of
// whole numbers takes what comes out of a relu scaled to its row's maximum; weights are scaled to
// their output's maximum. All products with h' are one, and a few rows are followed through the whole
// horizon while the weights stay in the cache.
//
// Widths are multiples of 16, filled up with zeros.

#include <stdlib.h>

#include "vectors.h"

#define TILE (42 / ROWS * ROWS)  // rows that are followed through the horizon together, at most

// y = (input W) * scale + bias; weights lie as [outputs / LANES][groups][LANES][4 bytes].
typedef struct {
    int groups, outputs;
    const uint8_t *weight;
    const float *scale;  // of a weight of whole numbers, per output
    const float *bias;
} Product;

typedef struct {
    int deterministic, hidden, stochastic, action;  // padded to 16, 16, 2, 2
    int states;                                     // stochastic, padded to 16
    int stochastic_size, action_size;               // as they are
    int heads;                                      // 1: reward; 2: reward and termination
    float min_std;
    Product input, gru, from_h, prior, head_s, head2[2];
    const float *head3[2];
    float head3_bias[2];
} Model;

static inline V load(const float *from) {
    V v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, V v) { memcpy(to, &v, sizeof v); }

static inline V relu(V x) { return larger((V){0}, x); }

static inline V absolute(V x) { return (V)((I)x & 0x7fffffff); }

// A float this large has its whole number in its lowest bits, rounded to nearest.
#define MAGIC 12582912.0f
#define MAGIC_BITS 0x4b400000

static inline I rounded(V x) { return (I)(x + MAGIC) - MAGIC_BITS; }

static inline V exponential(V x) {
    x = smaller((V){0} + 88.0f, larger((V){0} - 87.0f, x));
    V magic = x * 1.44269504f + MAGIC;
    V n = magic - MAGIC;
    V r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    V p = r * 1.3888889e-3f + 8.3333333e-3f;  // Taylor: |r| <= ln 2 / 2
    p = p * r + 4.1666667e-2f;
    p = p * r + 1.6666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * (V)(((I)magic << 23) + 0x3f800000);  // p 2^n
}

static inline V sigmoid(V x) { return reciprocal(1.0f + exponential(-x)); }

static inline V hyperbolic_tangent(V x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

static inline V softplus(V x) {  // max(x, 0) + log(1 + u), u = exp(-|x|) in (0, 1]
    V u = exponential(-absolute(x));
    // Abramowitz and Stegun 4.1.44, within 3e-8
    V p = u * -0.0064535442f + 0.0360884937f;
    p = p * u - 0.0953293897f;
    p = p * u + 0.1676540711f;
    p = p * u - 0.2407338084f;
    p = p * u + 0.3317990258f;
    p = p * u - 0.4998741238f;
    p = p * u + 0.9999964239f;
    return p * u + relu(x);
}

// Numbers at `i` of an input of this kind.
static inline void put(int kind, uint8_t *input, int i, V x) {
    if (kind == FLOAT32) store((float *)input + i, x);
    if (kind == BFLOAT16) store_bfloat16((uint16_t *)input + i, x);
    if (kind == INT8) store_int8(input + i, rounded(x));
}

static inline void finish(int kind, I sum, const float *scale, float row_scale, const float *bias,
                          float *y, int add)
{
    V v = load(add ? y : bias);
    if (kind == INT8)
        v += __builtin_convertvector(sum, V) * (load(scale) * row_scale);
    else
        v += (V)sum;
    store(y, v);
}

static inline I weights(const uint8_t *at) {
    I v;
    memcpy(&v, at, sizeof v);
    return v;
}

// ROWS rows by `columns` vectors of outputs, of one kind; everything but pointers is a constant.
// The sums are variables, not an array, because compilers keep only those in registers.
#if ROWS == 6
#define EACH_ROW(M) M(0) M(1) M(2) M(3) M(4) M(5)
#else
#define EACH_ROW(M) M(0) M(1) M(2) M(3)
#endif
#define DECLARE(r) I s##r##0 = {0}, s##r##1 = {0}, s##r##2 = {0}, s##r##3 = {0};
#define MULTIPLY(r) { \
    I a = group(x + (size_t)r * x_stride + 4 * g); \
    s##r##0 = dot(kind, s##r##0, a, w0); \
    if (columns > 1) s##r##1 = dot(kind, s##r##1, a, w1); \
    if (columns > 2) s##r##2 = dot(kind, s##r##2, a, w2); \
    if (columns > 3) s##r##3 = dot(kind, s##r##3, a, w3); }
#define MULTIPLY_TWO(r) { \
    const uint8_t *at = x + (size_t)r * x_stride + 4 * g; \
    I a = group(at), b = group(at + 4); \
    s##r##0 = dot_two(s##r##0, a, b, w0, v0); \
    if (columns > 1) s##r##1 = dot_two(s##r##1, a, b, w1, v1); }
#define FINISH(r) { \
    float *to = y + (size_t)r * y_stride, q = row_scale ? row_scale[r] : 0; \
    finish(kind, s##r##0, scale, q, bias, to, add); \
    if (columns > 1) finish(kind, s##r##1, scale + LANES, q, bias + LANES, to + LANES, add); \
    if (columns > 2) \
        finish(kind, s##r##2, scale + 2 * LANES, q, bias + 2 * LANES, to + 2 * LANES, add); \
    if (columns > 3) \
        finish(kind, s##r##3, scale + 3 * LANES, q, bias + 3 * LANES, to + 3 * LANES, add); }

static inline __attribute__((always_inline)) void block(
    int kind, int columns, int groups, const uint8_t *x, int x_stride, const uint8_t *weight,
    const float *scale, const float *row_scale, const float *bias, float *y, int y_stride, int add)
{
    EACH_ROW(DECLARE)
    size_t panel = (size_t)groups * 4 * LANES;
#if defined(SATURATES)
    if (kind == INT8) {
        for (int g = 0; g < groups; g += 2, weight += 8 * LANES) {
            I w0 = weights(weight), v0 = weights(weight + 4 * LANES), w1 = w0, v1 = v0;
            if (columns > 1) w1 = weights(weight + panel), v1 = weights(weight + panel + 4 * LANES);
            EACH_ROW(MULTIPLY_TWO)
        }
        EACH_ROW(FINISH)
        return;
    }
#endif
    for (int g = 0; g < groups; g++, weight += 4 * LANES) {
        I w0 = weights(weight), w1 = w0, w2 = w0, w3 = w0;
        if (columns > 1) w1 = weights(weight + panel);
        if (columns > 2) w2 = weights(weight + 2 * panel);
        if (columns > 3) w3 = weights(weight + 3 * panel);
        EACH_ROW(MULTIPLY)
    }
    EACH_ROW(FINISH)
}

// y[:, first : last] of a product, for `rows` rows (a multiple of ROWS); `add` adds to y, no bias.
static inline __attribute__((always_inline)) void multiply(
    int kind, const Product *p, int first, int last, int rows, const uint8_t *x, int x_stride,
    const float *row_scale, float *y, int y_stride, int add)
{
    for (int n = first; n < last;) {
        int columns = (last - n) / LANES < COLUMNS ? (last - n) / LANES : COLUMNS;
        const uint8_t *w = p->weight + (size_t)n / LANES * p->groups * 4 * LANES;
        for (int r = 0; r < rows; r += ROWS) {
            const uint8_t *xr = x + (size_t)r * x_stride;
            const float *s = p->scale ? p->scale + n : 0, *rs = row_scale ? row_scale + r : 0;
            const float *b = p->bias + n;
            float *yr = y + (size_t)r * y_stride + n;
            int g = p->groups;
            switch (columns) {
                case 1: block(kind, 1, g, xr, x_stride, w, s, rs, b, yr, y_stride, add); break;
                case 2: block(kind, 2, g, xr, x_stride, w, s, rs, b, yr, y_stride, add); break;
#if COLUMNS > 2
                case 3: block(kind, 3, g, xr, x_stride, w, s, rs, b, yr, y_stride, add); break;
                case 4: block(kind, 4, g, xr, x_stride, w, s, rs, b, yr, y_stride, add); break;
#endif
            }
        }
        n += columns * LANES;
    }
}

static void multiply_large(const Product *p, int first, int last, int rows, const uint8_t *x,
                           int x_stride, const float *row_scale, float *y, int y_stride)
{
    multiply(LARGE, p, first, last, rows, x, x_stride, row_scale, y, y_stride, 0);
}

static void multiply_small(const Product *p, int rows, const uint8_t *x, int x_stride, float *y,
                           int y_stride, int add)
{
    multiply(SMALL, p, 0, p->outputs, rows, x, x_stride, 0, y, y_stride, add);
}

typedef struct {
    uint8_t *state_action;      // SMALL [TILE, states + 16 + action]
    uint8_t *p;                 // SMALL [TILE, hidden]
    uint8_t *large;             // LARGE [TILE, max(deterministic, hidden)]
    int sa_stride, p_stride, large_stride;  // bytes
    float *x, *gates, *h, *from_h, *stats;
    float *row_scale, *of_state;  // what takes whole numbers back, per row; NaN where they stand for
                                  // what is not finite
} Buffers;

// relu(x) [rows, width] as the input of a LARGE product.
static void put_relu(const Buffers *b, int rows, int width, const float *x, int x_stride)
{
    for (int r = 0; r < rows; r++) {
        const float *from = x + (size_t)r * x_stride;
        V s = {0};
        if (LARGE != FLOAT32) {
            V top = (V){0} + 1e-20f, nan = {0};
            for (int i = 0; i < width; i += LANES) {
                top = larger(load(from + i), top);
                nan += relu(load(from + i)) * 0.0f;
            }
            b->row_scale[r] = maximum_of(top) / LEVELS + sum_of(nan);
            s += LEVELS / maximum_of(top);
        }
        for (int i = 0; i < width; i += LANES) {
            V v = relu(load(from + i));
            put(LARGE, b->large + (size_t)r * b->large_stride, i, LARGE == FLOAT32 ? v : v * s);
        }
    }
}

// The GRU's gates: h <- (1 - z) n + z h, also as the input of a LARGE product; gates of x and of h as
// [r | z | n] (PyTorch's order).
static void gru(const Model *m, const Buffers *b, int rows, const float *of_h, int of_h_stride)
{
    int d = m->deterministic;
    for (int row = 0; row < rows; row++) {
        const float *gx = b->gates + (size_t)row * 3 * d, *gh = of_h + (size_t)row * of_h_stride;
        float *state = b->h + (size_t)row * d;
        V nan = {0};
        for (int i = 0; i < d; i += LANES) {
            V xr = load(gx + i), xz = load(gx + d + i), xn = load(gx + 2 * d + i);
            V r = sigmoid(xr + load(gh + i)), z = sigmoid(xz + load(gh + d + i));
            V x = r * load(gh + 2 * d + i) + xn;
            V n = hyperbolic_tangent(x) + x * 0.0f;  // an infinite gate times r = 0, which ours never is
            V now = z * (load(state + i) - n) + n;
            nan += now * 0.0f;
            store(state + i, now);
            put(LARGE, b->large + (size_t)row * b->large_stride, i,
                LARGE == FLOAT32 ? now : now * STATE_LEVELS + OFFSET);
        }
        b->of_state[row] += sum_of(nan);
    }
}

static void follow(const Model *m, const Buffers *b, int rows, int real, int horizon,
                   const float *h0, const float *s0, const float *gates0, const float *actions,
                   const float *noise, float *out)
{
    int d = m->deterministic, hidden = m->hidden, wide = m->from_h.outputs;
    memset(b->state_action, 0, (size_t)TILE * b->sa_stride);
    for (int r = 0; r < rows; r++) {
        memcpy(b->h + (size_t)r * d, h0, sizeof(float) * d);
        b->of_state[r] = 1.0f / STATE_LEVELS;
        for (int i = 0; i < m->stochastic_size; i += LANES)
            put(SMALL, b->state_action + (size_t)r * b->sa_stride, i,
                load_some(s0 + i, m->stochastic_size - i));
    }
    for (int t = 0; t < horizon; t++) {
        for (int r = 0; r < rows; r++) {
            int source = r < real ? r : real - 1;  // rows that fill up the last block
            const float *a = actions + ((size_t)source * horizon + t) * m->action_size;
            for (int i = 0; i < m->action_size; i += LANES)
                put(SMALL, b->state_action + (size_t)r * b->sa_stride, m->stochastic + i,
                    load_some(a + i, m->action_size - i));
        }
        multiply_small(&m->input, rows, b->state_action, b->sa_stride, b->x, hidden, 0);
        put_relu(b, rows, hidden, b->x, hidden);
        multiply_large(&m->gru, 0, 3 * d, rows, b->large, b->large_stride, b->row_scale, b->gates,
                       3 * d);
        gru(m, b, rows, t == 0 ? gates0 : b->from_h, t == 0 ? 0 : wide);
        int first = t + 1 < horizon ? 0 : 3 * d;  // nothing follows the last state
        multiply_large(&m->from_h, first, wide, rows, b->large, b->large_stride, b->of_state,
                       b->from_h, wide);

        for (int r = 0; r < rows; r++)
            for (int i = 0; i < hidden; i += LANES)
                put(SMALL, b->p + (size_t)r * b->p_stride, i,
                    relu(load(b->from_h + (size_t)r * wide + 3 * d + i)));
        multiply_small(&m->prior, rows, b->p, b->p_stride, b->stats, 2 * m->states, 0);
        for (int r = 0; r < rows; r++) {
            int source = r < real ? r : real - 1;
            const float *e = noise + ((size_t)source * horizon + t) * m->stochastic_size;
            const float *mean = b->stats + (size_t)r * 2 * m->states;
            for (int i = 0; i < m->stochastic_size; i += LANES) {
                V std = softplus(load(mean + m->states + i)) + m->min_std;
                V s = std * load_some(e + i, m->stochastic_size - i) + load(mean + i);
                put(SMALL, b->state_action + (size_t)r * b->sa_stride, i, s);
            }
        }

        // W_1 [h', s']: the part of h' is in from_h, behind the gates and the prior's.
        float *head = b->from_h + 3 * d + hidden;
        multiply_small(&m->head_s, rows, b->state_action, b->sa_stride, head, wide, 1);
        for (int k = 0; k < m->heads; k++) {
            put_relu(b, rows, hidden, head + k * hidden, wide);
            multiply_large(&m->head2[k], 0, hidden, rows, b->large, b->large_stride, b->row_scale,
                           b->x, hidden);
            for (int r = 0; r < real; r++) {
                V sum = {0};
                for (int i = 0; i < hidden; i += LANES)
                    sum += relu(load(b->x + (size_t)r * hidden + i)) * load(m->head3[k] + i);
                out[((size_t)r * horizon + t) * m->heads + k] =
                    sum_of(sum) + m->head3_bias[k];
            }
        }
    }
}

static void *take(uint8_t **next, size_t bytes) {
    void *here = *next;
    *next += (bytes + 63) / 64 * 64;
    return here;
}

// Memory of one thread, and the buffers in it; NULL when there is none.
static uint8_t *make_buffers(const Model *m, Buffers *b)
{
    int d = m->deterministic, hidden = m->hidden, widest = d > hidden ? d : hidden;
    int wide = m->from_h.outputs;
    b->sa_stride = 4 / GROUP(SMALL) * (m->states + 16 + (m->action + 15) / 16 * 16);
    b->p_stride = 4 / GROUP(SMALL) * hidden;
    b->large_stride = 4 / GROUP(LARGE) * widest;
    size_t row = (size_t)b->sa_stride + b->p_stride + b->large_stride
                 + sizeof(float) * (hidden + 3 * d + d + wide + 2 * m->states + 2);
    uint8_t *memory = aligned_alloc(64, (TILE * row + 64 * 10 + 63) / 64 * 64), *next = memory;
    if (!memory) return NULL;
    b->state_action = take(&next, (size_t)TILE * b->sa_stride);
    b->p = take(&next, (size_t)TILE * b->p_stride);
    b->large = take(&next, (size_t)TILE * b->large_stride);
    b->x = take(&next, sizeof(float) * TILE * hidden);
    b->gates = take(&next, sizeof(float) * TILE * 3 * d);
    b->h = take(&next, sizeof(float) * TILE * d);
    b->from_h = take(&next, sizeof(float) * TILE * wide);
    b->stats = take(&next, sizeof(float) * TILE * 2 * m->states);
    b->row_scale = take(&next, sizeof(float) * TILE);
    b->of_state = take(&next, sizeof(float) * TILE);
    return memory;
}

// How weights are to be laid out: LANES, the groups of LARGE and SMALL, a bound, and the whole numbers
// of a state.
void layout(int *lanes, int *large, int *small, int *four, int *state_levels, int *offset)
{
    *lanes = LANES;
    *large = GROUP(LARGE);
    *small = GROUP(SMALL);
    *four = FOUR_WEIGHTS;
    *state_levels = STATE_LEVELS;
    *offset = OFFSET;
}

// Rewards, and logits of the termination, of `count` action sequences from one belief.
//
// h0 [deterministic] and s0 [stochastic] are the belief, gates0 [3 deterministic] the GRU's gates of
// h0; actions [count, horizon, action] and noise [count, horizon, stochastic] float32, not padded;
// out [count, horizon, heads]. Returns 0, or 1 when there is no memory.
//
// The threads are OpenMP's, which PyTorch's are too: those of another pool would compete with
// PyTorch's, which spin for a while after each operation.
int rollout(const Model *m, int threads, int count, int horizon, const float *h0, const float *s0,
            const float *gates0, const float *actions, const float *noise, float *out)
{
    int failed = 0;
    int tiles = (count + TILE * threads - 1) / (TILE * threads) * threads;  // as many for each
    int tile = ((count + tiles - 1) / tiles + ROWS - 1) / ROWS * ROWS;
    #pragma omp parallel num_threads(threads) reduction(|:failed)
    {
        Buffers b = {0};
        uint8_t *memory = make_buffers(m, &b);
        if (!memory) failed = 1;
        #pragma omp for schedule(dynamic)
        for (int start = 0; start < count; start += tile) {
            int real = count - start < tile ? count - start : tile;
            int rows = (real + ROWS - 1) / ROWS * ROWS;
            if (memory)
                follow(m, &b, rows, real, horizon, h0, s0, gates0,
                       actions + (size_t)start * horizon * m->action_size,
                       noise + (size_t)start * horizon * m->stochastic_size,
                       out + (size_t)start * horizon * m->heads);
        }
        free(memory);
    }
    return failed;
}
