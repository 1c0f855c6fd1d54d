// rollout.c as a program: for a CPU that Python does not run on. Without argument it writes its layout,
// with one it reads a model, a belief and candidates from standard input and writes their outcomes.

#include <stdio.h>

#include "rollout.c"

static void *get(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory || fread(memory, 1, bytes, stdin) != bytes) exit(2);
    return memory;
}

static int get_int(void) { return *(int *)get(sizeof(int)); }

static Product get_product(void) {
    Product p = {.groups = get_int(), .outputs = get_int()};
    int scaled = get_int();
    p.weight = get((size_t)4 * p.groups * p.outputs);
    if (scaled) p.scale = get(sizeof(float) * p.outputs);
    p.bias = get(sizeof(float) * p.outputs);
    return p;
}

int main(int count, char **arguments) {
    (void)arguments;
    if (count < 2) {
        int found[6];
        layout(found, found + 1, found + 2, found + 3, found + 4, found + 5);
        for (int i = 0; i < 6; i++) printf("%d\n", found[i]);
        return 0;
    }
    Model m = {.deterministic = get_int(), .hidden = get_int(), .stochastic = get_int(),
               .action = get_int(), .states = get_int(), .stochastic_size = get_int(),
               .action_size = get_int(), .heads = get_int()};
    m.min_std = *(float *)get(sizeof(float));
    m.input = get_product();
    m.gru = get_product();
    m.from_h = get_product();
    m.prior = get_product();
    m.head_s = get_product();
    for (int k = 0; k < m.heads; k++) {
        m.head2[k] = get_product();
        m.head3[k] = get(sizeof(float) * m.hidden);
        m.head3_bias[k] = *(float *)get(sizeof(float));
    }
    int candidates = get_int(), horizon = get_int();
    size_t rows = (size_t)candidates * horizon;
    const float *h0 = get(sizeof(float) * m.deterministic);
    const float *s0 = get(sizeof(float) * m.stochastic_size);
    const float *gates0 = get(sizeof(float) * 3 * m.deterministic);
    const float *actions = get(sizeof(float) * rows * m.action_size);
    const float *noise = get(sizeof(float) * rows * m.stochastic_size);
    float *out = aligned_alloc(64, (sizeof(float) * rows * m.heads + 63) / 64 * 64);
    if (rollout(&m, 1, candidates, horizon, h0, s0, gates0, actions, noise, out)) return 1;
    return fwrite(out, sizeof(float) * m.heads, rows, stdout) != rows;
}
