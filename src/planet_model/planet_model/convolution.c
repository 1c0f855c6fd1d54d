// Convolutions in float32, and their gradients, a few frames at a time.
//
// A few operations, of which convolution.py makes lists. All images have the layout height x width x
// channel; where a pixel, or the window that it sees, lies in its frame is in tables of offsets:
//
//     PRODUCT   c[p] = f(sum_s sum_k a[p + s][k] b[s][k] + bias) (f: a relu, its gradient, an error)
//     GRADIENT  c[s][m] += sum_p a[p + s][m] b[p + s]            (of a PRODUCT's b)
//     SUM       c += sum_p b[p]                                  (of a PRODUCT's bias)
//     SQUARES   c += sum_p b[p]^2
//
// for the pixels p of a frame and the segments s of a window: its rows, of k = 0 ... length - 1
// numbers that lie together. c, and a row of b, are vectors of n numbers. A list is followed for
// BLOCK frames before the next ones are taken, so that what one operation leaves is still in the
// cache when the next one needs it, and the largest matrix, of all windows, is never made.

#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#define BLOCK 4

enum { PRODUCT, GRADIENT, SUM, SQUARES };
// What a PRODUCT ends with: RELU leaves what is not a number, GATE is zero where d <= 0, MINUS d.
enum { PLAIN, RELU, GATE, MINUS };

typedef struct {
    float *data;
    int64_t stride;  // from frame to frame; of the c of sums and gradients, from thread to thread
    int32_t local;   // holds BLOCK frames for each thread, and not all frames
    const int64_t *rows;  // where each frame stands; NULL: one after the other
} Operand;

typedef struct {
    int32_t kind, n, pixels, segments, length, end;
    Operand a, b, c, d;
    const float *bias;  // of PRODUCT, or NULL
    // Of each pixel, and of each segment of a and b
    const int32_t *a_pixel, *b_pixel, *c_pixel, *d_pixel, *a_segment, *b_segment;
} Operation;

typedef float V8 __attribute__((vector_size(32)));
typedef float V16 __attribute__((vector_size(64)));

#if defined(__x86_64__)
// Assembly, because GCC copies the sums of its own vectors from register to register.
#define FMA(sum, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#else
#define FMA(sum, a, b) sum += (a) * (b)
#endif

#define INLINE static inline __attribute__((always_inline))
#define EACH(i, count) _Pragma("GCC unroll 16") for (int i = 0; i < (count); i++)

static float *frame(const Operand *x, int thread, int block, int i)
{
    if (x->local) return x->data + x->stride * (thread * BLOCK + i);
    return x->data + x->stride * (x->rows ? x->rows[block + i] : block + i);
}

// ROWS pixels times one panel of b, VECTORS x V wide; `count` of them are kept.
#define DEFINE_PRODUCT(V, ROWS, VECTORS)                                                           \
INLINE void product_##V##_##VECTORS(const Operation *o, const float *a, const float *b,            \
                                    const float *bias, float *c, const float *d, int first)        \
{                                                                                                  \
    enum { LANES = sizeof(V) / 4 };                                                                \
    int count = o->pixels - first < ROWS ? o->pixels - first : ROWS;                               \
    const float *at[ROWS];                                                                         \
    V sum[ROWS][VECTORS];                                                                          \
    EACH(r, ROWS) {                                                                                \
        at[r] = a + o->a_pixel[first + (r < count ? r : 0)];                                       \
        EACH(v, VECTORS)                                                                           \
            if (bias) memcpy(&sum[r][v], bias + v * LANES, sizeof(V)); else sum[r][v] = (V){0};    \
    }                                                                                              \
    for (int s = 0; s < o->segments; s++) {                                                        \
        long from = o->a_segment[s];                                                               \
        for (long k = from; k < from + o->length; k++, b += VECTORS * LANES) {                     \
            V row[VECTORS];                                                                        \
            EACH(v, VECTORS) memcpy(&row[v], b + v * LANES, sizeof(V));                            \
            EACH(r, ROWS) {                                                                        \
                V x = at[r][k] - (V){0};                                                           \
                EACH(v, VECTORS) FMA(sum[r][v], x, row[v]);                                        \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    EACH(r, ROWS) {                                                                                \
        if (r >= count) break;                                                                     \
        EACH(v, VECTORS) {                                                                         \
            V y = sum[r][v], z = y;                                                                \
            if (d) memcpy(&z, d + o->d_pixel[first + r] + v * LANES, sizeof(V));                   \
            if (o->end == MINUS) y -= z;                                                           \
            else if (o->end != PLAIN) y = (V)(~(z <= 0) & (__typeof__(z > 0))y);                   \
            memcpy(c + o->c_pixel[first + r] + v * LANES, &y, sizeof(V));                          \
        }                                                                                          \
    }                                                                                              \
}                                                                                                  \
static void products_##V##_##VECTORS(const Operation *o, int thread, int block, int frames)        \
{                                                                                                  \
    enum { WIDTH = VECTORS * sizeof(V) / 4 };                                                      \
    long panel = (long)o->segments * o->length * WIDTH;                                            \
    for (int n = 0; n < o->n; n += WIDTH)                                                          \
        for (int i = 0; i < frames; i++) {                                                         \
            const float *a = frame(&o->a, thread, block, i);                                       \
            const float *d = o->d.data ? frame(&o->d, thread, block, i) + n : 0;                   \
            float *c = frame(&o->c, thread, block, i) + n;                                         \
            const float *bias = o->bias ? o->bias + n : 0;                                         \
            for (int p = 0; p < o->pixels; p += ROWS)                                              \
                product_##V##_##VECTORS(o, a, o->b.data + n / WIDTH * panel, bias, c, d, p);       \
        }                                                                                          \
}

// ROWS rows of a gradient, VECTORS x V wide, from all pixels of a few frames.
#define DEFINE_TILE(V, ROWS, VECTORS)                                                              \
INLINE void tile_##V##_##ROWS##_##VECTORS(const Operation *o, int thread, int block, int frames,   \
                                          long in_a, long in_b, float *c)                          \
{                                                                                                  \
    enum { LANES = sizeof(V) / 4 };                                                                \
    V sum[ROWS][VECTORS];                                                                          \
    EACH(r, ROWS) EACH(v, VECTORS)                                                                 \
        memcpy(&sum[r][v], c + (long)r * o->n + v * LANES, sizeof(V));                             \
    for (int i = 0; i < frames; i++) {                                                             \
        const float *a = frame(&o->a, thread, block, i) + in_a;                                    \
        const float *b = frame(&o->b, thread, block, i) + in_b;                                    \
        for (long p = 0; p < o->pixels; p++) {                                                     \
            const float *x = a + o->a_pixel[p], *y = b + o->b_pixel[p];                            \
            __asm__("" : "+r"(x)); /* one address, and not one for each row */                     \
            V row[VECTORS];                                                                        \
            EACH(v, VECTORS) memcpy(&row[v], y + v * LANES, sizeof(V));                            \
            EACH(r, ROWS) {                                                                        \
                V one = x[r] - (V){0};                                                             \
                EACH(v, VECTORS) FMA(sum[r][v], one, row[v]);                                      \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    EACH(r, ROWS) EACH(v, VECTORS)                                                                 \
        memcpy(c + (long)r * o->n + v * LANES, &sum[r][v], sizeof(V));                             \
}

// A segment's `length` rows, a multiple of 4, as tiles of MANY, and of FEW for the rest.
#define DEFINE_GRADIENT(V, MANY, FEW, VECTORS)                                                     \
DEFINE_TILE(V, MANY, VECTORS)                                                                      \
DEFINE_TILE(V, FEW, VECTORS)                                                                       \
static void gradient_##V##_##VECTORS(const Operation *o, int thread, int block, int frames)        \
{                                                                                                  \
    enum { WIDTH = VECTORS * sizeof(V) / 4 };                                                      \
    for (int s = 0; s < o->segments; s++)                                                          \
        for (int n = 0; n < o->n; n += WIDTH) {                                                    \
            float *c = o->c.data + o->c.stride * thread + (long)s * o->length * o->n + n;          \
            for (int m = 0, step; m < o->length; m += step) {                                      \
                long in_a = o->a_segment[s] + m, in_b = o->b_segment[s] + n;                       \
                float *to = c + (long)m * o->n;                                                    \
                int left = o->length - m;                                                          \
                step = left >= MANY && (left % MANY == 0 || left > 2 * FEW) ? MANY : FEW;          \
                if (step > left)                                                                   \
                    tile_##V##_4_##VECTORS(o, thread, block, frames, in_a, in_b, to), step = 4;    \
                else if (step == MANY)                                                             \
                    tile_##V##_##MANY##_##VECTORS(o, thread, block, frames, in_a, in_b, to);       \
                else                                                                               \
                    tile_##V##_##FEW##_##VECTORS(o, thread, block, frames, in_a, in_b, to);        \
            }                                                                                      \
        }                                                                                          \
}

DEFINE_TILE(V8, 4, 1)
DEFINE_PRODUCT(V8, 8, 1)
DEFINE_GRADIENT(V8, 12, 8, 1)
#if defined(__AVX512F__)
DEFINE_TILE(V16, 4, 1)
DEFINE_TILE(V16, 4, 2)
DEFINE_PRODUCT(V16, 8, 1)
DEFINE_PRODUCT(V16, 8, 2)
DEFINE_GRADIENT(V16, 12, 8, 1)
DEFINE_GRADIENT(V16, 12, 8, 2)
#else
DEFINE_PRODUCT(V8, 6, 2)
DEFINE_GRADIENT(V8, 6, 4, 2)
#endif

static void sum(const Operation *o, int thread, int block, int frames)
{
    float *c = o->c.data + o->c.stride * thread;
    for (int n = 0; n < o->n; n += 8) {
        V8 total = {0}, x;
        for (int i = 0; i < frames; i++) {
            const float *b = frame(&o->b, thread, block, i) + n;
            for (int p = 0, to; p < o->pixels; p = to) {  // a few at a time: sums of sums round less
                V8 part[4] = {0};
                to = o->pixels - p < 64 ? o->pixels : p + 64;
                for (int q = p; q < to; q++) {
                    memcpy(&x, b + o->b_pixel[q], sizeof x);
                    part[q % 4] += o->kind == SUM ? x : x * x;
                }
                total += (part[0] + part[1]) + (part[2] + part[3]);
            }
        }
        memcpy(&x, c + n, sizeof x);
        x += total;
        memcpy(c + n, &x, sizeof x);
    }
}

// How many of n columns (a multiple of 8) of a PRODUCT's b lie together: [n / width][k][width].
int width(int n)
{
#if defined(__AVX512F__)
    if (n % 32 == 0) return 32;
#endif
    return n % 16 == 0 ? 16 : 8;
}

// Frames that a local operand has room for, for each thread.
int block(void) { return BLOCK; }

static void follow(const Operation *o, int thread, int at, int frames)
{
    int columns = width(o->n);
    if (o->kind == SUM || o->kind == SQUARES) sum(o, thread, at, frames);
    else if (o->kind == PRODUCT) {
#if defined(__AVX512F__)
        if (columns == 32) products_V16_2(o, thread, at, frames);
        else if (columns == 16) products_V16_1(o, thread, at, frames);
#else
        if (columns == 16) products_V8_2(o, thread, at, frames);
#endif
        else products_V8_1(o, thread, at, frames);
    } else {
#if defined(__AVX512F__)
        if (columns == 32) gradient_V16_2(o, thread, at, frames);
        else if (columns == 16) gradient_V16_1(o, thread, at, frames);
#else
        if (columns == 16) gradient_V8_2(o, thread, at, frames);
#endif
        else gradient_V8_1(o, thread, at, frames);
    }
}

// Follow the list of operations for all frames; each thread takes its share of them.
void convolve(const Operation *list, int count, int frames, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        int thread = 0, team = 1;
#ifdef _OPENMP
        thread = omp_get_thread_num(), team = omp_get_num_threads();
#endif
        int from = (int)((long)frames * thread / team), to = (int)((long)frames * (thread + 1) / team);
        for (int at = from; at < to; at += BLOCK)
            for (int i = 0; i < count; i++)
                follow(list + i, thread, at, to - at < BLOCK ? to - at : BLOCK);
    }
}

// 6 bytes of one line and 6 of the next, of bytes that have the upper bits of `x` and the lower of `y`.
INLINE void mix(const uint8_t *x, const uint8_t *y, long line, uint64_t noisy, uint64_t *mixed)
{
    uint64_t six[2];
    EACH(i, 2) {
        uint32_t four[2];
        uint16_t two[2];
        memcpy(four, x + i * line, 4), memcpy(two, x + i * line + 4, 2);
        memcpy(four + 1, y + i * line, 4), memcpy(two + 1, y + i * line + 4, 2);
        uint64_t seen = four[0] | (uint64_t)two[0] << 32, dither = four[1] | (uint64_t)two[1] << 32;
        six[i] = (seen & ~noisy) | (dither & noisy);
    }
    mixed[0] = six[0] | six[1] << 48;
    mixed[1] = six[1] >> 16;
}

// Frames as 2 x 2 blocks of pixels, [cameras][frames][32][32][16]: x in 0..255, of which `low` is the
// mask of the noisy bits, becomes (x - 127.5) / 256; the last 4 of 16 channels are zero. The frames
// are `rows` of `images`, [..][64][64 cameras][3]; those of the noise come one after the other.
void blocks(const uint8_t *images, const uint8_t *noise, const int64_t *rows, int frames, int cameras,
            int low, float *out, int threads)
{
    typedef uint8_t Bytes __attribute__((vector_size(8)));
    const float unit = 1 / 256.0f;
    const V8 whole = {unit, unit, unit, unit, unit, unit, unit, unit};
    const V8 half = {unit, unit, unit, unit, 0, 0, 0, 0};
    const long line = 64 * 3 * cameras, size = 64 * line, frame = 32 * 32 * 16;
    const uint64_t noisy = 0x0101010101010101u * (uint64_t)low;
#pragma omp parallel for num_threads(threads)
    for (int i = 0; i < frames; i++)
        for (int camera = 0; camera < cameras; camera++) {
            const uint8_t *image = images + rows[i] * size + camera * 64 * 3;
            const uint8_t *random = noise + i * size + camera * 64 * 3;
            float *to = out + ((long)camera * frames + i) * frame;
            for (int y = 0; y < 32; y++)
                for (int x = 0; x < 32; x++, to += 16) {
                    long at = 2 * y * line + 6 * x;
                    uint64_t mixed[2];
                    Bytes bytes[2];
                    mix(image + at, random + at, line, noisy, mixed);
                    memcpy(bytes, mixed, 16);
                    V8 first = __builtin_convertvector(bytes[0], V8) * whole + whole * -127.5f;
                    V8 second = __builtin_convertvector(bytes[1], V8) * half + half * -127.5f;
                    memcpy(to, &first, sizeof first), memcpy(to + 8, &second, sizeof second);
                }
        }
}
