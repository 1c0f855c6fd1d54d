// What instruction sets differ in, for rollout.c: a vector of floats, and sums of products.
//
// Everything else is written in the vectors of GCC and Clang (vector_size), which both translate
// for any CPU.

#include <stdint.h>
#include <string.h>

// A product takes 4 bytes of its input at a time: 1 float, 2 of bfloat16, or 4 of int8. The kind of
// the large products is chosen by whoever compiles.
#define FLOAT32 0
#define BFLOAT16 1
#define INT8 2
#define GROUP(kind) (1 << (kind))

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16    // floats in a vector
#define ROWS 6      // rows that a product holds in registers,
#define COLUMNS 4   // by this many vectors of outputs
#elif defined(__AVX2__)
#include <immintrin.h>
#define LANES 8
#if LARGE == INT8 && !defined(__AVXVNNI__)
#define SATURATES  // what products of bytes are added up in, int16
#define ROWS 4
#else
#define ROWS 6
#endif
#define COLUMNS 2
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define LANES 4
#define ROWS 6
#define COLUMNS 4
#else
#error "rollout.c needs AVX2 with FMA, AVX-512 or NEON"
#endif

typedef float V __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));

// An input in whole numbers: what comes out of a relu is 0..LEVELS of its row's maximum, a state in
// (-1, 1) is OFFSET + STATE_LEVELS h. A weight is within 127.
#if defined(SATURATES)
#define LEVELS 127
#define STATE_LEVELS 63
#define OFFSET 64
#define FOUR_WEIGHTS (32767 / LEVELS)  // what the weights of four products sum to, at most
#elif defined(__ARM_NEON) && !defined(__ARM_FEATURE_MATMUL_INT8)  // signed bytes
#define LEVELS 127
#define STATE_LEVELS 127
#define OFFSET 0
#define FOUR_WEIGHTS 0  // no bound
#else  // unsigned bytes
#define LEVELS 255
#define STATE_LEVELS 127
#define OFFSET 128
#define FOUR_WEIGHTS 0
#endif

// The small products, of states and actions.
#if defined(__AVX512BF16__)
#define SMALL BFLOAT16
#else
#define SMALL FLOAT32
#endif

// sum += a w, in each lane over a group. It is assembly because GCC copies the sums of intrinsics, and
// of its own vectors, from register to register.
static inline __attribute__((always_inline)) I dot(int kind, I sum, I a, I w)
{
#if defined(__ARM_NEON)
    if (kind == FLOAT32) __asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum) : "w"(a), "w"(w));
#if defined(__ARM_FEATURE_MATMUL_INT8)
    if (kind == INT8) __asm__("usdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(w));
#elif defined(__ARM_FEATURE_DOTPROD)
    if (kind == INT8) __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(w));
#endif
#else
    if (kind == FLOAT32) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
#if defined(__AVX512BF16__)
    if (kind == BFLOAT16) __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
#endif
#if defined(__AVX512VNNI__)
    if (kind == INT8) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
#elif defined(__AVXVNNI__)
    if (kind == INT8) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
#endif
#endif
    return sum;
}

#if defined(SATURATES)
// The same over two groups of bytes, of which four products are added up in int16.
static inline __attribute__((always_inline)) I dot_two(I sum, I a, I b, I w, I v)
{
    I first, second, ones = (I)_mm256_set1_epi16(1);
    __asm__("vpmaddubsw %2, %1, %0" : "=v"(first) : "v"(a), "v"(w));
    __asm__("vpmaddubsw %2, %1, %0" : "=v"(second) : "v"(b), "v"(v));
    first = (I)_mm256_add_epi16((__m256i)first, (__m256i)second);
    return sum + (I)_mm256_madd_epi16((__m256i)first, (__m256i)ones);
}
#endif

static inline I group(const uint8_t *at)  // 4 bytes for all lanes
{
    int32_t four;
    memcpy(&four, at, 4);
#if defined(__ARM_NEON)
    return (I)vld1q_dup_s32(&four);
#else
    return four - (I){0};
#endif
}

// b where b is not a number.
static inline V larger(V a, V b)
{
#if defined(__AVX512F__)
    return (V)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (V)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (V)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#endif
}

// b where b is not a number.
static inline V smaller(V a, V b)
{
#if defined(__AVX512F__)
    return (V)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (V)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return (V)vminq_f32((float32x4_t)a, (float32x4_t)b);
#endif
}

static inline float sum_of(V v)
{
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#elif defined(__AVX2__)
    __m256 x = (__m256)v;
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
    return vaddvq_f32((float32x4_t)v);
#endif
}

static inline float maximum_of(V v)
{
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#elif defined(__AVX2__)
    __m256 x = (__m256)v;
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
#else
    return vmaxvq_f32((float32x4_t)v);
#endif
}

static inline V load_some(const float *from, int count)  // the rest is 0
{
#if defined(__AVX512F__)
    return (V)_mm512_maskz_loadu_ps(count < LANES ? (1 << count) - 1 : 0xffff, from);
#elif defined(__AVX2__)
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (V)_mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes));
#else
    V v = {0};
    for (int i = 0; i < LANES && i < count; i++) v[i] = from[i];
    return v;
#endif
}

static inline V reciprocal(V x)
{
#if defined(__AVX512F__)
    V y = (V)_mm512_rcp14_ps((__m512)x);
    return y * (2.0f - x * y);  // one step of Newton's
#elif defined(__AVX2__)
    V y = (V)_mm256_rcp_ps((__m256)x);
    return y * (2.0f - x * y);
#else
    return 1.0f / x;
#endif
}

// LANES whole numbers as bytes, of which none is out of range.
static inline void store_int8(uint8_t *to, I x)
{
#if defined(__AVX512F__)
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8((__m512i)x));
#elif defined(__AVX2__)
    __m128i pairs = _mm_packus_epi32(_mm256_castsi256_si128((__m256i)x),
                                     _mm256_extracti128_si256((__m256i)x, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(pairs, pairs));
#else
    int16x4_t pairs = vmovn_s32((int32x4_t)x);
    uint8x8_t bytes = vreinterpret_u8_s8(vmovn_s16(vcombine_s16(pairs, pairs)));
    vst1_lane_u32((uint32_t *)to, vreinterpret_u32_u8(bytes), 0);
#endif
}

static inline void store_bfloat16(uint16_t *to, V x)
{
#if defined(__AVX512BF16__)
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)x));
#else
    (void)to, (void)x;
#endif
}
