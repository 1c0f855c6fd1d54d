"""What all packages of the suite share; it needs neither PyTorch nor ROS.

The time convention, which every package of the suite follows::

    step          0            1            2                    T
              +--------+   +--------+   +--------+          +--------+
    stored    |  o_0   |   |  o_1   |   |  o_2   |          |  o_T   |   observation
              | a_-1=0 |   |  a_0   |   |  a_1   |   ...    | a_T-1  |   action that led to it
              | no r_0 |   |  r_1   |   |  r_2   |          |  r_T   |   reward that came with it
              +---+----+   +---+----+   +---+----+          +---+----+
                  |            |            |                   |
    belief    b_0 = (h,s) -> b_1 ------> b_2 ---- ... ------> b_T          b_t from o_<=t and a_<t
                  |            |            |
    acting       a_0          a_1          a_2                             a_t from b_t

Step t holds (o_t, a_{t-1}, r_t), and an episode of T decisions has T + 1 steps: the last
observation, the one that shows the touch, is kept. The first step has no previous action
(a_{-1} = 0) and no reward (stored as 0 with ``reward_valid`` false).

The belief b_t is inferred from o_<=t and a_<t, in training exactly as in acting. A chunk that
starts in the middle of an episode, at step k, starts from the zero belief with its real action
a_{k-1}. No chunk crosses an episode's end; what is padded is masked; losses are divided by the
number of valid steps. Steps with an invalid reward are left out of the reward loss. Termination is
learnt from ``terminated`` only, never from ``truncated``: running out of time is no property of a
state.
"""
