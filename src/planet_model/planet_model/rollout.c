// The imagined rewards of many action sequences, for AVX-512 with VNNI and BF16.
//
// The same equations as world_model.WorldModel.imagine and .reward, one candidate per row:
//
//     x  = relu(W_in [s, a])                               bfloat16
//     h' = GRU(x, h)                                       int8
//     p  = relu(W_p h'),  mean, std = W_o p                int8, bfloat16
//     s' = mean + (softplus(std) + min_std) noise          float32
//     y  = w_3 relu(W_2 relu(W_1 [h', s']))                int8 (W_1 of s': bfloat16)
//
// for the reward and, where there is one, the termination. Sums, nonlinearities and the state h are
// float32. An int8 product takes its input as unsigned bytes: h, which is within (-1, 1), as
// 128 + 127 h; what comes out of a relu scaled to its row's maximum; weights are scaled to their
// output's maximum. All products with h' are one, and a few rows are followed through the whole
// horizon while the weights stay in the cache.
//
// Widths are multiples of 16 (LANES), filled up with zeros.

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16
#define ROWS 6      // rows that a product holds in registers,
#define COLUMNS 4   // by this many vectors of 16 outputs
#define TILE 42     // rows that are followed through the horizon together

// y = (input W) * scale + bias. A group of 4 bytes of the input (4 of int8, 2 of bfloat16) is
// multiplied at a time; weights lie as [outputs / 16][groups][16][4 bytes].
typedef struct {
    int groups, outputs;
    const uint8_t *weight;
    const float *scale;  // of an int8 weight, per output; unused for bfloat16
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

typedef __m512 V;

static inline V exp16(V x) {
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0f)), _mm512_set1_ps(88.0f));
    V n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 8);
    V r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    V p = _mm512_set1_ps(1.3888889e-3f);  // Taylor: |r| <= ln 2 / 2
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3333333e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1666667e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666667e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

static inline V reciprocal(V x) {
    V y = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(y, _mm512_fnmadd_ps(x, y, _mm512_set1_ps(2.0f)));  // one Newton step
}

static inline V sigmoid(V x) {
    V e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), x));
    return reciprocal(_mm512_add_ps(_mm512_set1_ps(1.0f), e));
}

static inline V hyperbolic_tangent(V x) {
    V two = _mm512_set1_ps(2.0f);
    return _mm512_fmsub_ps(two, sigmoid(_mm512_mul_ps(two, x)), _mm512_set1_ps(1.0f));
}

static inline V softplus(V x) {  // max(x, 0) + log(1 + u), u = exp(-|x|) in (0, 1]
    V u = exp16(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_abs_ps(x)));
    // Abramowitz and Stegun 4.1.44, within 3e-8
    V p = _mm512_set1_ps(-0.0064535442f);
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(0.0360884937f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-0.0953293897f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(0.1676540711f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-0.2407338084f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(0.3317990258f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-0.4998741238f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(0.9999964239f));
    return _mm512_fmadd_ps(p, u, _mm512_max_ps(x, _mm512_setzero_ps()));
}

static inline V relu(V x) { return _mm512_max_ps(x, _mm512_setzero_ps()); }

enum { INT8, BF16 };

// sum += a b. As assembly, because GCC copies the sums of the intrinsics from register to register.
static inline __m512i dot(int kind, __m512i sum, __m512i a, __m512i b) {
    if (kind == INT8)
        __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    else
        __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

static inline void finish(int kind, __m512i sum, const float *scale, float row_scale,
                          const float *bias, float *y, int add)
{
    V v = _mm512_loadu_ps(add ? y : bias);
    if (kind == INT8) {
        V s = _mm512_mul_ps(_mm512_loadu_ps(scale), _mm512_set1_ps(row_scale));
        v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), s, v);
    } else {
        v = _mm512_add_ps(_mm512_castsi512_ps(sum), v);
    }
    _mm512_storeu_ps(y, v);
}

// ROWS rows by `columns` vectors of outputs, of one kind; everything but pointers is a constant.
// The sums are variables, not an array, because compilers keep only those in registers.
#define EACH_ROW(M) M(0) M(1) M(2) M(3) M(4) M(5)
#define DECLARE(r) \
    __m512i s##r##0 = _mm512_setzero_si512(), s##r##1 = s##r##0, s##r##2 = s##r##0, \
            s##r##3 = s##r##0;
#define MULTIPLY(r) { \
    int four; \
    memcpy(&four, x + (size_t)r * x_stride + 4 * g, 4); \
    __m512i a = _mm512_set1_epi32(four); \
    s##r##0 = dot(kind, s##r##0, a, w0); \
    if (columns > 1) s##r##1 = dot(kind, s##r##1, a, w1); \
    if (columns > 2) s##r##2 = dot(kind, s##r##2, a, w2); \
    if (columns > 3) s##r##3 = dot(kind, s##r##3, a, w3); }
#define FINISH(r) { \
    float *to = y + (size_t)r * y_stride, q = kind == INT8 ? row_scale[r] : 0; \
    finish(kind, s##r##0, scale, q, bias, to, add); \
    if (columns > 1) finish(kind, s##r##1, scale + 16, q, bias + 16, to + 16, add); \
    if (columns > 2) finish(kind, s##r##2, scale + 32, q, bias + 32, to + 32, add); \
    if (columns > 3) finish(kind, s##r##3, scale + 48, q, bias + 48, to + 48, add); }

static inline __attribute__((always_inline)) void block(
    int kind, int columns, int groups, const uint8_t *x, int x_stride, const uint8_t *weight,
    const float *scale, const float *row_scale, const float *bias, float *y, int y_stride, int add)
{
    EACH_ROW(DECLARE)
    size_t panel = (size_t)groups * 64;
    for (int g = 0; g < groups; g++, weight += 64) {
        __m512i w0 = _mm512_loadu_si512(weight), w1 = w0, w2 = w0, w3 = w0;
        if (columns > 1) w1 = _mm512_loadu_si512(weight + panel);
        if (columns > 2) w2 = _mm512_loadu_si512(weight + 2 * panel);
        if (columns > 3) w3 = _mm512_loadu_si512(weight + 3 * panel);
        EACH_ROW(MULTIPLY)
    }
    EACH_ROW(FINISH)
}

// y[:, first : last] of a product, for `rows` rows (a multiple of ROWS); `add` adds to y, no bias.
static inline __attribute__((always_inline)) void multiply(
    int kind, const Product *p, int first, int last, int rows, const void *input, int x_stride,
    const float *row_scale, float *y, int y_stride, int add)
{
    const uint8_t *x = input;
    for (int n = first; n < last;) {
        int columns = (last - n) / LANES < COLUMNS ? (last - n) / LANES : COLUMNS;
        const uint8_t *w = p->weight + (size_t)n / LANES * p->groups * 64;
        for (int r = 0; r < rows; r += ROWS) {
            const uint8_t *xr = x + (size_t)r * x_stride;
            const float *s = kind == INT8 ? p->scale + n : 0, *rs = kind == INT8 ? row_scale + r : 0;
            const float *b = p->bias + n;
            float *yr = y + (size_t)r * y_stride + n;
            int g = p->groups;
            switch (columns) {
                case 1: block(kind, 1, g, xr, x_stride, w, s, rs, b, yr, y_stride, add); break;
                case 2: block(kind, 2, g, xr, x_stride, w, s, rs, b, yr, y_stride, add); break;
                case 3: block(kind, 3, g, xr, x_stride, w, s, rs, b, yr, y_stride, add); break;
                default: block(kind, 4, g, xr, x_stride, w, s, rs, b, yr, y_stride, add);
            }
        }
        n += columns * LANES;
    }
}

static void multiply_int8(const Product *p, int first, int last, int rows, const uint8_t *x,
                          int x_stride, const float *row_scale, float *y, int y_stride)
{
    multiply(INT8, p, first, last, rows, x, x_stride, row_scale, y, y_stride, 0);
}

static void multiply_bf16(const Product *p, int rows, const uint16_t *x, int x_stride, float *y,
                          int y_stride, int add)
{
    multiply(BF16, p, 0, p->outputs, rows, x, 2 * x_stride, 0, y, y_stride, add);
}

// relu(x) [rows, width] as bytes of a row scaled to its maximum; `row_scale` takes them back.
static void quantise(int rows, int width, const float *x, int x_stride, uint8_t *q, int q_stride,
                     float *row_scale)
{
    for (int r = 0; r < rows; r++) {
        V top = _mm512_set1_ps(1e-20f);
        for (int i = 0; i < width; i += LANES)
            top = _mm512_max_ps(top, _mm512_loadu_ps(x + (size_t)r * x_stride + i));
        float maximum = _mm512_reduce_max_ps(top);
        V s = _mm512_set1_ps(255.0f / maximum);
        for (int i = 0; i < width; i += LANES) {
            V v = _mm512_mul_ps(relu(_mm512_loadu_ps(x + (size_t)r * x_stride + i)), s);
            _mm_storeu_si128((__m128i *)(q + (size_t)r * q_stride + i),
                             _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v)));
        }
        row_scale[r] = maximum / 255.0f;
    }
}

static inline void store_bf16(uint16_t *to, V x) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x));
}

typedef struct {
    uint16_t *state_action;     // bf16 [TILE, stochastic + action]
    float *x, *gates, *h, *from_h, *stats;
    uint8_t *bytes;             // [TILE, max(deterministic, hidden)]
    uint16_t *p;                // bf16 [TILE, hidden]
    float *row_scale, *ones;
    float *broken;              // [TILE], 0, or NaN once a row's state is not finite: bytes, and
                                // max(), would hide it
} Buffers;

// The GRU's gates: h <- (1 - z) n + z h, and 128 + 127 h as bytes; gates of x and of h as
// [r | z | n] (PyTorch's order).
static void gru(const Model *m, int rows, const float *of_x, const float *of_h, int of_h_stride,
                float *h, uint8_t *bytes, int bytes_stride, float *broken)
{
    V zero = _mm512_setzero_ps();
    int d = m->deterministic;
    for (int row = 0; row < rows; row++) {
        const float *gx = of_x + (size_t)row * 3 * d, *gh = of_h + (size_t)row * of_h_stride;
        float *state = h + (size_t)row * d;
        V nan = zero;
        for (int i = 0; i < d; i += LANES) {
            V r = sigmoid(_mm512_add_ps(_mm512_loadu_ps(gx + i), _mm512_loadu_ps(gh + i)));
            V z = sigmoid(_mm512_add_ps(_mm512_loadu_ps(gx + d + i), _mm512_loadu_ps(gh + d + i)));
            V n = hyperbolic_tangent(_mm512_fmadd_ps(r, _mm512_loadu_ps(gh + 2 * d + i),
                                                     _mm512_loadu_ps(gx + 2 * d + i)));
            V of_any = _mm512_add_ps(_mm512_add_ps(_mm512_loadu_ps(gx + i),
                                                   _mm512_loadu_ps(gx + d + i)),
                                     _mm512_loadu_ps(gx + 2 * d + i));
            nan = _mm512_fmadd_ps(zero, of_any, nan);
            V old = _mm512_loadu_ps(state + i);
            V now = _mm512_fmadd_ps(z, _mm512_sub_ps(old, n), n);
            _mm512_storeu_ps(state + i, now);
            V q = _mm512_fmadd_ps(now, _mm512_set1_ps(127.0f), _mm512_set1_ps(128.0f));
            __m512i v = _mm512_max_epi32(_mm512_cvtps_epi32(q), _mm512_setzero_si512());
            _mm_storeu_si128((__m128i *)(bytes + (size_t)row * bytes_stride + i),
                             _mm512_cvtusepi32_epi8(v));
        }
        broken[row] += _mm512_reduce_add_ps(nan);
    }
}

static void follow(const Model *m, const Buffers *b, int rows, int real, int horizon,
                   const float *h0, const float *s0, const float *gates0, const float *actions,
                   const float *noise, float *out)
{
    int d = m->deterministic, hidden = m->hidden, sa = m->stochastic + m->action;
    int wide = m->from_h.outputs, bytes_stride = d > hidden ? d : hidden;
    memset(b->state_action, 0, sizeof(uint16_t) * TILE * sa);
    memset(b->broken, 0, sizeof(float) * TILE);
    for (int r = 0; r < rows; r++) {
        memcpy(b->h + (size_t)r * d, h0, sizeof(float) * d);
        for (int i = 0; i < m->stochastic_size; i++)
            b->state_action[r * sa + i] = (uint16_t)_mm_extract_epi16(
                (__m128i)_mm_cvtneps_pbh(_mm_set1_ps(s0[i])), 0);
    }
    for (int t = 0; t < horizon; t++) {
        for (int r = 0; r < rows; r++) {
            int source = r < real ? r : real - 1;  // rows that fill up the last block
            const float *a = actions + ((size_t)source * horizon + t) * m->action_size;
            uint16_t *to = b->state_action + r * sa + m->stochastic;
            for (int i = 0; i < m->action_size; i++)
                to[i] = (uint16_t)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set1_ps(a[i])), 0);
        }
        multiply_bf16(&m->input, rows, b->state_action, sa, b->x, hidden, 0);
        quantise(rows, hidden, b->x, hidden, b->bytes, bytes_stride, b->row_scale);
        multiply_int8(&m->gru, 0, 3 * d, rows, b->bytes, bytes_stride, b->row_scale, b->gates,
                      3 * d);
        gru(m, rows, b->gates, t == 0 ? gates0 : b->from_h, t == 0 ? 0 : wide, b->h, b->bytes,
            bytes_stride, b->broken);
        int first = t + 1 < horizon ? 0 : 3 * d;  // nothing follows the last state
        multiply_int8(&m->from_h, first, wide, rows, b->bytes, bytes_stride, b->ones, b->from_h,
                      wide);

        for (int r = 0; r < rows; r++)
            for (int i = 0; i < hidden; i += LANES)
                store_bf16(b->p + (size_t)r * hidden + i,
                           relu(_mm512_loadu_ps(b->from_h + (size_t)r * wide + 3 * d + i)));
        multiply_bf16(&m->prior, rows, b->p, hidden, b->stats, 2 * m->states, 0);
        for (int r = 0; r < rows; r++) {
            int source = r < real ? r : real - 1;
            const float *e = noise + ((size_t)source * horizon + t) * m->stochastic_size;
            const float *mean = b->stats + (size_t)r * 2 * m->states;
            V nan = _mm512_setzero_ps();
            for (int i = 0; i < m->stochastic_size; i += LANES) {
                int left = m->stochastic_size - i;
                __mmask16 here = left < LANES ? (1 << left) - 1 : 0xffff;
                V std = _mm512_add_ps(softplus(_mm512_loadu_ps(mean + m->states + i)),
                                      _mm512_set1_ps(m->min_std));
                V s = _mm512_fmadd_ps(std, _mm512_maskz_loadu_ps(here, e + i),
                                      _mm512_loadu_ps(mean + i));
                _mm256_mask_storeu_epi16(b->state_action + r * sa + i, here,
                                         (__m256i)_mm512_cvtneps_pbh(s));
                V raw = _mm512_loadu_ps(mean + m->states + i);
                nan = _mm512_fmadd_ps(_mm512_setzero_ps(), _mm512_add_ps(s, raw), nan);
            }
            b->broken[r] += _mm512_reduce_add_ps(nan);
        }

        // W_1 [h', s']: the part of h' is in from_h, behind the gates and the prior's.
        float *head = b->from_h + 3 * d + hidden;
        multiply_bf16(&m->head_s, rows, b->state_action, sa, head, wide, 1);
        for (int k = 0; k < m->heads; k++) {
            quantise(rows, hidden, head + k * hidden, wide, b->bytes, bytes_stride, b->row_scale);
            multiply_int8(&m->head2[k], 0, hidden, rows, b->bytes, bytes_stride, b->row_scale,
                          b->x, hidden);
            for (int r = 0; r < real; r++) {
                V sum = _mm512_setzero_ps();
                for (int i = 0; i < hidden; i += LANES)
                    sum = _mm512_fmadd_ps(relu(_mm512_loadu_ps(b->x + (size_t)r * hidden + i)),
                                          _mm512_loadu_ps(m->head3[k] + i), sum);
                out[((size_t)r * horizon + t) * m->heads + k] =
                    _mm512_reduce_add_ps(sum) + m->head3_bias[k] + b->broken[r];
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
    int sa = m->stochastic + m->action, wide = m->from_h.outputs;
    size_t size = 64 * 12 + TILE * (2 * (size_t)sa + 4 * (size_t)hidden + 12 * (size_t)d
                                    + 4 * (size_t)d + 4 * (size_t)wide + 8 * (size_t)m->states
                                    + widest + 2 * (size_t)hidden + 12);
    uint8_t *memory = aligned_alloc(64, (size + 63) / 64 * 64), *next = memory;
    if (!memory) return 0;
    b->state_action = take(&next, 2 * (size_t)TILE * sa);
    b->x = take(&next, 4 * (size_t)TILE * hidden);
    b->gates = take(&next, 12 * (size_t)TILE * d);
    b->h = take(&next, 4 * (size_t)TILE * d);
    b->from_h = take(&next, 4 * (size_t)TILE * wide);
    b->stats = take(&next, 8 * (size_t)TILE * m->states);
    b->bytes = take(&next, (size_t)TILE * widest);
    b->p = take(&next, 2 * (size_t)TILE * hidden);
    b->row_scale = take(&next, 4 * TILE);
    b->ones = take(&next, 4 * TILE);
    b->broken = take(&next, 4 * TILE);
    for (int r = 0; r < TILE; r++) b->ones[r] = 1.0f;
    return memory;
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
    #pragma omp parallel num_threads(threads) reduction(|:failed)
    {
        Buffers b;
        uint8_t *memory = make_buffers(m, &b);
        if (!memory) failed = 1;
        #pragma omp for schedule(dynamic)
        for (int start = 0; start < count; start += TILE) {
            int real = count - start < TILE ? count - start : TILE;
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
