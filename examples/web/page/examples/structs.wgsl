// Particles as an array of structs: each lane reads 4 of 32 bytes, so that a line of memory is fetched for a few words.
struct Particle {
    position: vec3<f32>,
    mass: f32,
    velocity: vec3<f32>,
    age: f32,
}

@group(0) @binding(0) var<storage, read> particles: array<Particle>;
@group(0) @binding(1) var<storage, read_write> energy: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let mass = particles[id.x].mass;
    let velocity = particles[id.x].velocity;
    energy[id.x] = 0.5 * mass * dot(velocity, velocity);
}
