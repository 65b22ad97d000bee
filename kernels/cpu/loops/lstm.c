/* One position of an LSTM for a range of samples: gates, cell and output, and the way back. */
#include "kernels/cpu/loops/exponential.h"
#include "kernels/cpu/loops/isa.h"

void DL_ISA(lstm_forward)(const dl_cpu_lstm_step *step, dl_range samples) {
    const int64_t h = step->h;
    for (int64_t n = samples.begin; n < samples.end; n++) {
        const float *z = step->z + n * step->z_stride, *r = step->recurrent + n * step->recurrent_stride;
        const float *c_before = step->c_before + n * step->c_before_stride;
        float *gates = step->gates + n * step->gates_stride, *output = step->h_now + n * h;
        float *c = step->c + n * step->y_stride, *y = step->y + n * step->y_stride;
#pragma omp simd
        for (int64_t k = 0; k < h; k++) { /* gates may be z: read before written, unit by unit */
            const float i = dl_fast_sigmoid(z[k] + r[k]);
            const float f = dl_fast_sigmoid(z[h + k] + r[h + k]);
            const float g = dl_fast_tanh(z[2 * h + k] + r[2 * h + k]);
            const float o = dl_fast_sigmoid(z[3 * h + k] + r[3 * h + k]);
            const float cell = f * c_before[k] + i * g;
            const float out = o * dl_fast_tanh(cell);
            gates[k] = i;
            gates[h + k] = f;
            gates[2 * h + k] = g;
            gates[3 * h + k] = o;
            c[k] = cell;
            y[k] = out;
            output[k] = out;
        }
    }
}

void DL_ISA(lstm_backward)(const dl_cpu_lstm_step *step, dl_range samples) {
    const int64_t h = step->h;
    for (int64_t n = samples.begin; n < samples.end; n++) {
        const float *gates = step->gates + n * step->gates_stride, *c = step->c + n * step->y_stride;
        const float *c_before = step->c_before + n * step->c_before_stride;
        const float *dy = step->dy + n * step->y_stride;
        float *dh = step->h_now + n * h, *dc = step->dc + n * h;
        float *dz = step->dz + n * step->gates_stride, *d_now = step->dz_now + n * 4 * h;
#pragma omp simd
        for (int64_t k = 0; k < h; k++) { /* dz may be gates */
            const float i = gates[k], f = gates[h + k], g = gates[2 * h + k], o = gates[3 * h + k];
            const float squashed = dl_fast_tanh(c[k]);
            const float out = dy[k] + dh[k];
            const float cell = dc[k] + out * o * (1.0F - squashed * squashed);
            const float d_i = cell * g * (i * (1.0F - i));
            const float d_f = cell * c_before[k] * (f * (1.0F - f));
            const float d_g = cell * i * (1.0F - g * g);
            const float d_o = out * squashed * (o * (1.0F - o));
            dc[k] = cell * f;
            dz[k] = d_now[k] = d_i;
            dz[h + k] = d_now[h + k] = d_f;
            dz[2 * h + k] = d_now[2 * h + k] = d_g;
            dz[3 * h + k] = d_now[3 * h + k] = d_o;
        }
    }
}
